"""The API as a page for people: every operation, what it takes and what it answers with.

Rendered from the OpenAPI document alone, so that page and document cannot tell different things.
Like the pages of problems it needs no script and nothing from elsewhere. Must not know any route
in particular.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from fluxpay.web import pages

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

_PROBLEM: Final = "application/problem+json"
_IN_WORDS: Final = {"text/html": "a page", "text/plain": "text"}
_LINKS: Final = (
    '<p>For programs: <a href="/openapi.json"><code>/openapi.json</code></a>. What can go wrong: '
    '<a href="/problems">all problems</a>.</p>'
)


def write(document: Json) -> bytes:
    """Write the page of an OpenAPI document."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    contents = [
        f'<dt><a href="#{operation["operationId"]}"><code>{method} {path}</code></a></dt>'
        f"<dd>{escape(operation['summary'])}</dd>"
        for method, path, operation in operations
    ]
    schemas = document["components"]["schemas"]
    parts = [
        f"<p>{pages.with_code(document['info']['description'])}</p>",
        _LINKS,
        _definitions(contents),
        *[_operation(*one) for one in operations],
        "<h2>Objects</h2>",
        *[_object(name, schema) for name, schema in schemas.items()],
    ]
    return pages.write("The API", "\n".join(parts))


def _operation(method: str, path: str, operation: Json) -> str:
    about = pages.with_code(operation.get("description", "No key is needed."))
    parameters = [
        _field(one["name"], one | {"description": _told(one)}, is_required=one["required"])
        for one in operation.get("parameters", ())
    ]
    lines = [
        f'<h2 id="{operation["operationId"]}"><code>{method} {path}</code></h2>',
        f"<p>{escape(operation['summary'])}. {about}</p>",
        _definitions(parameters),
    ]
    if "requestBody" in operation:
        body = operation["requestBody"]
        needed = "" if body["required"] else ", which may be left out"
        lines.append(f"<p>Takes {_content(body)}{needed}.</p>")
    problems: list[str] = []
    for status, response in operation["responses"].items():
        if _PROBLEM in response["content"]:
            codes = response["content"][_PROBLEM]["examples"]
            problems += [
                f'<a href="/problems/{one}">{status} <code>{one}</code></a>' for one in codes
            ]
        else:
            lines.append(f"<p>Answers {status} with {_content(response)}.</p>")
    lines.append(f"<p>Or with a problem: {', '.join(problems)}.</p>")
    return "\n".join(lines)


def _content(holder: Json) -> str:
    ((media, content),) = holder["content"].items()
    return _IN_WORDS.get(media) or _kind(content["schema"])


def _object(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    fields = [
        _field(member, one, is_required=member in required)
        for member, one in schema.get("properties", {}).items()
    ]
    about = pages.with_code(_told(schema))
    if "properties" not in schema:
        about += f" One of: {_kind(schema)}."
    return f'<h3 id="{name}"><code>{name}</code></h3>\n<p>{about}</p>\n{_definitions(fields)}'


def _field(name: str, described: Json, *, is_required: bool) -> str:
    needed = ", required" if is_required else ""
    return (
        f"<dt><code>{escape(name)}</code>: {_kind(described.get('schema', described))}{needed}</dt>"
        f"<dd>{pages.with_code(_told(described))}</dd>"
    )


def _told(described: Mapping[str, Any]) -> str:
    """What a schema or a parameter says of itself; a field that may be null says it one deeper."""
    inner = (described, described.get("schema", {}), *described.get("anyOf", ()))
    return next((str(one["description"]) for one in inner if "description" in one), "")


def _kind(schema: Json) -> str:
    """The kind of a value in a few words, with a link to each object among them."""
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}"><code>{name}</code></a>'
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if "oneOf" in schema:
        # The codes of problems, each with its meaning.
        return ", ".join(
            f"<code>{escape(str(one.get('const', '')))}</code>" for one in schema["oneOf"]
        )
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    return escape(str(schema.get("type", "any value")))


def _definitions(items: list[str]) -> str:
    return "<dl>\n" + "\n".join(items) + "\n</dl>" if items else ""
