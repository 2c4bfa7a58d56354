"""The table of problems: every refusal has one entry, and it reads well to a stranger."""

import re

import pytest

from fluxpay.core.problems import PROBLEMS, Code, Problem, problem_type

TABLE = pytest.mark.parametrize(("code", "problem"), PROBLEMS.items(), ids=str)


def test_every_code_has_a_problem_and_every_problem_a_code() -> None:
    assert list(Code) == list(PROBLEMS)


def test_no_two_problems_share_a_title_or_a_name() -> None:
    titles = [problem.title for problem in PROBLEMS.values()]
    assert sorted(set(titles)) == sorted(titles)
    assert len(Code.__members__) == len({str(code) for code in Code})


@TABLE
def test_a_problem_is_the_caller_s_or_the_server_s(code: Code, problem: Problem) -> None:
    assert 400 <= problem.status <= 599
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)


@TABLE
def test_a_problem_says_what_it_is_and_what_to_do(code: Code, problem: Problem) -> None:
    assert not problem.title.endswith(".")
    assert problem.remedy.endswith(".")
    assert f"/problems/{code}" == problem_type(code)


@TABLE
def test_what_passes_by_itself_is_never_stored(code: Code, problem: Problem) -> None:
    # A reply that a later retry can better must not be replayed: 400, 401, 403, 409, 429 and 5xx.
    passing = problem.status in {400, 401, 403, 409, 429} or problem.status >= 500
    assert not (problem.stored and passing), code


def test_a_fraud_rejection_is_stored() -> None:
    assert [Code.FRAUD_REJECTED] == [code for code, problem in PROBLEMS.items() if problem.stored]
