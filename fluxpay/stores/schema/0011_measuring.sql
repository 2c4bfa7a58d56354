-- How the books stand as a whole, for whoever watches: what is not sealed yet, whether debits equal
-- credits, and when all of it was last proven.
--
-- A tenant's rows are shown to nobody else, so what is asked about all of them is asked by functions
-- that tell sums and no row. They are asked every few seconds: each looks along an index, and at no
-- more than it has to.

-- Transfers that the worker has not passed yet, counted up to `at_most`, and the instant of the
-- oldest among them. They are the newest rows, found by the number of their transaction. The
-- horizon is read first, so that the planner sees it: the same trick as in unsealed_entries().
CREATE FUNCTION ledger_lag(at_most integer, OUT transfers integer, OUT oldest_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_custom_plan SET enable_seqscan = off
    AS $$
DECLARE
    horizon bigint := (
        SELECT CASE WHEN h.system_identifier = here.system_identifier THEN h.sealed_below ELSE 0 END
        FROM ledger_horizon h, pg_control_system() AS here
    );
BEGIN
    SELECT count(*), min(t.created_at) INTO transfers, oldest_at
    FROM (
        SELECT created_at FROM ledger_transfers
        WHERE committed_in >= horizon ORDER BY committed_in LIMIT at_most
    ) AS t;
END
$$;

-- Debits minus credits by currency, by the last line of each account's statement. A transfer is
-- told in both statements in one transaction, so this is 0 at every moment, whatever the lag; only
-- a line that was changed or taken away by hand makes it something else. One look-up an account.
CREATE FUNCTION ledger_imbalance()
    RETURNS TABLE (currency text, minor numeric)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    SET enable_seqscan = off
    AS $$
    SELECT last.currency, sum(
        last.posted_debit + last.pending_debit - last.posted_credit - last.pending_credit
    )
    FROM accounts a
    CROSS JOIN LATERAL (
        SELECT e.currency, e.posted_debit, e.posted_credit, e.pending_debit, e.pending_credit
        FROM account_entries e
        WHERE e.tenant_id = a.tenant_id AND e.account_id = a.id
        ORDER BY e.seq DESC LIMIT 1
    ) AS last
    GROUP BY last.currency
    $$;

GRANT CREATE ON SCHEMA public TO fluxpay_writer;
ALTER FUNCTION ledger_lag OWNER TO fluxpay_writer;
ALTER FUNCTION ledger_imbalance OWNER TO fluxpay_writer;
REVOKE CREATE ON SCHEMA public FROM fluxpay_writer;
REVOKE EXECUTE ON FUNCTION ledger_lag, ledger_imbalance FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_lag, ledger_imbalance TO fluxpay_app;

-- The proofs of the books, of which there is one at a time however many workers there are. One row.
-- Whoever proves is heard of now and then; who falls silent has died, and another may begin.
CREATE TABLE ledger_proof (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    begun_at timestamptz,
    heard_at timestamptz,
    -- Of the last one that came to its end: when it did, and what it found.
    ended_at timestamptz,
    findings bigint NOT NULL DEFAULT 0 CHECK (findings >= 0)
);
INSERT INTO ledger_proof DEFAULT VALUES;
GRANT SELECT, UPDATE ON ledger_proof TO fluxpay_app;
