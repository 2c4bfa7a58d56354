-- A dump that is restored elsewhere brings the numbers of its own system along, as a rule far larger
-- ones than have been given out here. What had not been sealed there would be sealed only when the
-- numbers here have come as far, perhaps in years, and all that was sealed would count as late.
--
-- No row that is visible here can bear a number that was not given out here yet, except one that was
-- brought along; and that has been committed, so nothing needs to be waited for. Such rows come
-- first, from where the worker there had ended; then all others, by name, as before.

CREATE OR REPLACE FUNCTION seal_ledger(at_most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    -- What is looked up has an index, whatever statistics say: see 0010.
    SET enable_seqscan = off
    AS $$
DECLARE
    endless CONSTANT bigint := 9223372036854775807;
    here bigint := (SELECT system_identifier FROM pg_control_system());
    horizon ledger_horizon;
    is_elsewhere boolean;
    below bigint;
    sealed integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('fluxpay.seal_ledger', 0)) THEN
        RETURN 0;
    END IF;
    SELECT * INTO horizon FROM ledger_horizon;
    is_elsewhere := horizon.system_identifier <> here;
    IF is_elsewhere THEN
        horizon.sealed_below := greatest(
            horizon.sealed_below, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        );
        below := endless;
    ELSE
        below := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    END IF;
    SELECT least(below, coalesce(min(t.committed_in) + 1, below)) INTO below
    FROM (
        SELECT committed_in FROM ledger_transfers
        WHERE committed_in >= horizon.sealed_below AND committed_in < below
        ORDER BY committed_in OFFSET at_most - 1 LIMIT 1
    ) AS t;

    WITH fresh AS MATERIALIZED (
        SELECT t.*, transfer_digest(t) AS digest,
               row_number() OVER (PARTITION BY tenant_id ORDER BY created_at, id) AS position
        FROM ledger_transfers t
        WHERE committed_in >= horizon.sealed_below AND committed_in < below
          AND NOT EXISTS (
              SELECT FROM sealed_transfers s
              WHERE s.tenant_id = t.tenant_id AND s.transfer_id = t.id
          )
    ), link AS MATERIALIZED (
        SELECT f.tenant_id, coalesce(last.seq, 0) + 1 AS seq, count(*) AS transfers,
               sha256(coalesce(last.digest, ''::bytea)
                      || string_agg(f.digest, ''::bytea ORDER BY f.position)) AS digest
        FROM fresh f
        LEFT JOIN LATERAL (
            SELECT seq, digest FROM ledger_seals s
            WHERE s.tenant_id = f.tenant_id ORDER BY seq DESC LIMIT 1
        ) AS last ON true
        GROUP BY f.tenant_id, last.seq, last.digest
    ), linked AS (
        INSERT INTO ledger_seals (tenant_id, seq, transfers, digest, sealed_at)
        SELECT tenant_id, seq, transfers, digest, clock_timestamp() FROM link
    ), named AS (
        INSERT INTO sealed_transfers (tenant_id, transfer_id, seal_seq, position, digest)
        SELECT f.tenant_id, f.id, link.seq, f.position, f.digest
        FROM fresh f JOIN link ON link.tenant_id = f.tenant_id
    ), side AS (
        SELECT f.*, d.direction, d.account_id
        FROM fresh f
        CROSS JOIN LATERAL (
            VALUES ('debit', f.debit_account_id), ('credit', f.credit_account_id)
        ) AS d (direction, account_id)
    ), told AS (
        INSERT INTO account_entries (
            tenant_id, account_id, seq, transfer_id, direction, layer, kind, payment_id, amount,
            currency, created_at, posted_debit, posted_credit, pending_debit, pending_credit,
            latest_at
        )
        SELECT s.tenant_id, s.account_id,
               coalesce(last.seq, 0) + row_number() OVER entry,
               s.id, s.direction, s.layer, s.kind, s.payment_id, s.amount, s.currency,
               s.created_at,
               coalesce(last.posted_debit, 0) + sum(
                   CASE WHEN layer = 'posted' AND direction = 'debit' THEN amount ELSE 0 END
               ) OVER entry,
               coalesce(last.posted_credit, 0) + sum(
                   CASE WHEN layer = 'posted' AND direction = 'credit' THEN amount ELSE 0 END
               ) OVER entry,
               coalesce(last.pending_debit, 0) + sum(
                   CASE WHEN layer = 'pending' AND direction = 'debit' THEN amount ELSE 0 END
               ) OVER entry,
               coalesce(last.pending_credit, 0) + sum(
                   CASE WHEN layer = 'pending' AND direction = 'credit' THEN amount ELSE 0 END
               ) OVER entry,
               greatest(last.latest_at, max(s.created_at) OVER entry)
        FROM side s
        LEFT JOIN LATERAL (
            SELECT e.seq, e.posted_debit, e.posted_credit, e.pending_debit, e.pending_credit,
                   e.latest_at
            FROM account_entries e
            WHERE e.tenant_id = s.tenant_id AND e.account_id = s.account_id
            ORDER BY e.seq DESC LIMIT 1
        ) AS last ON true
        WINDOW entry AS (
            PARTITION BY s.tenant_id, s.account_id ORDER BY s.created_at, s.id
            ROWS UNBOUNDED PRECEDING
        )
    )
    SELECT count(*) INTO sealed FROM fresh;

    IF is_elsewhere AND below = endless THEN
        -- Nothing that was brought along is left: from now on the numbers of this system count.
        below := 0;
        is_elsewhere := false;
    END IF;
    UPDATE ledger_horizon
    SET sealed_below = below, moved_at = clock_timestamp(),
        system_identifier = CASE WHEN is_elsewhere THEN horizon.system_identifier ELSE here END;
    RETURN sealed;
END
$$;

-- The same figures as before, without what was brought along and is sealed: no transaction that is
-- visible here has a number above the snapshot's end.
CREATE OR REPLACE FUNCTION ledger_lag(
    at_most integer, OUT transfers integer, OUT oldest_at timestamptz
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_custom_plan SET enable_seqscan = off
    AS $$
DECLARE
    horizon bigint;
    beyond bigint := 9223372036854775807;
    is_here boolean;
BEGIN
    SELECT h.sealed_below, h.system_identifier = here.system_identifier INTO horizon, is_here
    FROM ledger_horizon h, pg_control_system() AS here;
    IF is_here THEN
        beyond := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    ELSE
        horizon := 0;
    END IF;
    SELECT count(*), min(t.created_at) INTO transfers, oldest_at
    FROM (
        SELECT created_at FROM ledger_transfers
        WHERE committed_in >= horizon AND committed_in < beyond
        ORDER BY committed_in LIMIT at_most
    ) AS t;
END
$$;
