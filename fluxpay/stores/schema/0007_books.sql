-- The books as one reads them: statements with running totals, balances at any instant, and a
-- seal over every transfer.
--
-- The write path locks no balance. A worker follows behind it and *seals* what can no longer be
-- overtaken: it copies each transfer into the statements of its two accounts, adds up the totals,
-- and chains a digest. A balance is the last total of the statement plus the tail that is not
-- sealed yet, read in one statement and so in one snapshot: exact, whatever the worker's lag.
--
-- Ids and created_at commit out of order. What does not is the number of the transaction: once
-- every transaction below a number has ended (pg_snapshot_xmin), no row below it can still appear.

ALTER TABLE ledger_transfers
    ADD COLUMN committed_in bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    ADD COLUMN description text,
    ALTER COLUMN payment_id DROP NOT NULL,
    DROP CONSTRAINT ledger_transfers_kind_check,
    ADD CONSTRAINT ledger_transfers_kind_check
        CHECK (kind IN ('authorization', 'release', 'capture', 'refund', 'transfer')),
    ADD CONSTRAINT ledger_transfers_payment_check
        CHECK ((payment_id IS NULL) = (kind = 'transfer'));
-- Grows at its right end only, and all rows of a batch share one value: the cheapest index there is.
CREATE INDEX ledger_transfers_by_transaction ON ledger_transfers (committed_in);

ALTER TABLE accounts
    ADD COLUMN no_overdraft boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT accounts_kind_check,
    ADD CONSTRAINT accounts_kind_check
        CHECK (kind IN ('merchant', 'platform', 'reserve', 'payout'));
GRANT UPDATE (no_overdraft) ON accounts TO fluxpay_writer;

-- How far the worker has come: everything below this transaction number is sealed. One row. A
-- dump restored elsewhere meets smaller numbers there, so the numbers count for one system only.
CREATE TABLE ledger_horizon (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    sealed_below bigint NOT NULL,
    system_identifier bigint NOT NULL,
    moved_at timestamptz NOT NULL
);
INSERT INTO ledger_horizon (sealed_below, system_identifier, moved_at)
    SELECT 0, system_identifier, now() FROM pg_control_system();

CREATE TABLE account_entries (
    tenant_id text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    transfer_id text COLLATE "C" NOT NULL,
    direction text COLLATE "C" NOT NULL CHECK (direction IN ('debit', 'credit')),
    layer text COLLATE "C" NOT NULL CHECK (layer IN ('pending', 'posted')),
    kind text COLLATE "C" NOT NULL,
    payment_id text COLLATE "C",
    amount bigint NOT NULL,
    currency text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    -- Totals of the account with this entry. A bigint holds a thousand of the largest amounts and
    -- then overflows, and the worker that seals for all tenants would stop at that one.
    posted_debit numeric NOT NULL,
    posted_credit numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    -- The latest created_at up to here. It only grows, so an instant is found by bisection.
    latest_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account_id, seq)
);
CREATE INDEX account_entries_by_instant ON account_entries (tenant_id, account_id, latest_at, seq);
-- Entries that committed after a younger one was sealed; few, and needed for the past alone.
CREATE INDEX account_entries_late ON account_entries (tenant_id, account_id, created_at)
    WHERE created_at < latest_at;
-- How late the latest of them was: bounds where the late ones of an instant can be.
CREATE INDEX account_entries_lateness
    ON account_entries (tenant_id, account_id, (latest_at - created_at))
    WHERE created_at < latest_at;

-- A link of a tenant's chain covers the transfers that were sealed together.
CREATE TABLE ledger_seals (
    tenant_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    transfers integer NOT NULL CHECK (transfers > 0),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    sealed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);
CREATE TABLE sealed_transfers (
    tenant_id text COLLATE "C" NOT NULL,
    transfer_id text COLLATE "C" NOT NULL,
    seal_seq bigint NOT NULL,
    position integer NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (tenant_id, transfer_id),
    UNIQUE (tenant_id, seal_seq, position)
);

DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['account_entries', 'ledger_seals', 'sealed_transfers'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', one);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', one);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT current_tenant()))',
            one
        );
        EXECUTE format(
            'CREATE POLICY writer ON %I TO fluxpay_writer USING (true) WITH CHECK (true)', one
        );
        EXECUTE format('GRANT SELECT ON %I TO fluxpay_app', one);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO fluxpay_writer', one);
        EXECUTE format(
            'CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON %I '
            'FOR EACH ROW EXECUTE FUNCTION refuse_change()', one
        );
        EXECUTE format(
            'CREATE TRIGGER append_only_table BEFORE TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', one
        );
    END LOOP;
END
$$;
GRANT SELECT ON ledger_horizon TO fluxpay_app;
GRANT SELECT, UPDATE ON ledger_horizon TO fluxpay_writer;

-- What a seal is made over: every column of a transfer that means something, in one fixed form.
CREATE FUNCTION transfer_digest(t ledger_transfers) RETURNS bytea
    LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
    AS $$
        SELECT sha256(convert_to(json_build_array(
            t.tenant_id, t.id, t.kind, t.payment_id, t.debit_account_id, t.credit_account_id,
            t.amount, t.currency, extract(epoch FROM t.created_at)::text, t.reverses, t.description
        )::text, 'UTF8'))
    $$;

-- Seals the next transfers, at most so many (more only where one transaction wrote more), and
-- tells how many. Only one worker at a time seals; the others get 0 at once.
CREATE FUNCTION seal_ledger(at_most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    here bigint := (SELECT system_identifier FROM pg_control_system());
    horizon ledger_horizon;
    below bigint;
    sealed integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('fluxpay.seal_ledger', 0)) THEN
        RETURN 0;
    END IF;
    SELECT * INTO horizon FROM ledger_horizon;
    IF horizon.system_identifier <> here THEN
        -- Restored elsewhere: what is sealed is known by name, the numbers start anew.
        horizon.sealed_below := 0;
    END IF;
    below := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
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

    UPDATE ledger_horizon
    SET sealed_below = below, system_identifier = here, moved_at = clock_timestamp();
    RETURN sealed;
END
$$;

-- What is not sealed yet of these accounts of the tenant in force: the tails of their statements.
--
-- The horizon is read first and the statement planned with its value: only so does the planner see
-- that it asks for the newest rows, and not for a third of the table. Since the function is stable,
-- both are read in the snapshot of whoever calls it.
CREATE FUNCTION unsealed_entries(wanted text[])
    RETURNS TABLE (
        account_id text, transfer_id text, direction text, layer text, kind text, payment_id text,
        amount bigint, currency text, created_at timestamptz
    )
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_custom_plan
    AS $$
DECLARE
    horizon bigint := (
        SELECT CASE WHEN h.system_identifier = here.system_identifier THEN h.sealed_below ELSE 0 END
        FROM ledger_horizon h, pg_control_system() AS here
    );
BEGIN
    RETURN QUERY
        SELECT d.account_id, t.id, d.direction, t.layer, t.kind, t.payment_id, t.amount, t.currency,
               t.created_at
        FROM ledger_transfers t
        CROSS JOIN LATERAL (
            VALUES ('debit', t.debit_account_id), ('credit', t.credit_account_id)
        ) AS d (direction, account_id)
        WHERE t.tenant_id = current_tenant() AND t.committed_in >= horizon
          AND d.account_id = ANY (wanted)
          -- Restored elsewhere, what was sealed there bears larger numbers than the horizon here.
          AND NOT EXISTS (
              SELECT FROM sealed_transfers s
              WHERE s.tenant_id = t.tenant_id AND s.transfer_id = t.id
          );
END
$$;

-- The totals of accounts of the tenant in force, at an instant or (NULL) now; one row for each
-- account that has any entry. Sealed totals, plus what was sealed late, plus the unsealed tail.
CREATE FUNCTION account_totals(wanted text[], instant timestamptz)
    RETURNS TABLE (
        account_id text, posted_debit numeric, posted_credit numeric, pending_debit numeric,
        pending_credit numeric
    )
    LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
    AS $$
    WITH asked AS MATERIALIZED (
        -- One bound instead of `instant IS NULL OR ...`, which no index could answer. What is late
        -- at the instant was made at most as long before it as anything was ever late.
        SELECT one.id, one.until, one.until - (
            SELECT e.latest_at - e.created_at FROM account_entries e
            WHERE e.tenant_id = current_tenant() AND e.account_id = one.id
              AND e.created_at < e.latest_at
            ORDER BY e.latest_at - e.created_at DESC LIMIT 1
        ) AS since
        FROM (
            SELECT DISTINCT id, coalesce(instant, 'infinity') AS until FROM unnest(wanted) AS id
        ) AS one
    ), sealed AS MATERIALIZED (
        SELECT asked.id AS account_id, e.seq, e.posted_debit, e.posted_credit, e.pending_debit,
               e.pending_credit
        FROM asked CROSS JOIN LATERAL (
            SELECT * FROM account_entries
            WHERE tenant_id = current_tenant() AND account_id = asked.id
              AND latest_at <= asked.until
            ORDER BY latest_at DESC, seq DESC LIMIT 1
        ) AS e
    ), late AS (
        SELECT e.account_id, e.direction, e.layer, e.amount
        FROM asked
        LEFT JOIN sealed ON sealed.account_id = asked.id
        CROSS JOIN LATERAL (
            SELECT * FROM account_entries
            WHERE tenant_id = current_tenant() AND account_id = asked.id
              AND created_at < latest_at
              AND created_at > asked.since AND created_at <= asked.until
              AND seq > coalesce(sealed.seq, 0)
            -- Keeps this an index scan for each account: as a join it may become a scan of all.
            ORDER BY created_at OFFSET 0
        ) AS e
    ), tail AS (
        SELECT account_id, direction, layer, amount FROM unsealed_entries(wanted)
        WHERE created_at <= coalesce(instant, 'infinity')
    ), part AS (
        SELECT account_id, posted_debit, posted_credit, pending_debit, pending_credit FROM sealed
        UNION ALL
        SELECT account_id,
               CASE WHEN layer = 'posted' AND direction = 'debit' THEN amount ELSE 0 END,
               CASE WHEN layer = 'posted' AND direction = 'credit' THEN amount ELSE 0 END,
               CASE WHEN layer = 'pending' AND direction = 'debit' THEN amount ELSE 0 END,
               CASE WHEN layer = 'pending' AND direction = 'credit' THEN amount ELSE 0 END
        FROM (SELECT * FROM late UNION ALL SELECT * FROM tail) AS entry
    )
    SELECT account_id, sum(posted_debit), sum(posted_credit), sum(pending_debit),
           sum(pending_credit)
    FROM part GROUP BY account_id
    $$;

GRANT CREATE ON SCHEMA public TO fluxpay_writer;
ALTER FUNCTION seal_ledger OWNER TO fluxpay_writer;
REVOKE CREATE ON SCHEMA public FROM fluxpay_writer;
REVOKE EXECUTE ON FUNCTION transfer_digest, seal_ledger, unsealed_entries, account_totals
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION transfer_digest TO fluxpay_writer, fluxpay_app;
GRANT EXECUTE ON FUNCTION seal_ledger, unsealed_entries, account_totals TO fluxpay_app;

-- Every tenant that any row of the books names, by id, and whether the tenant's own row is there:
-- for `fluxpay verify`, which must not miss the books of a tenant that somebody deleted. It jumps
-- from tenant to tenant along the keys, so it costs a few look-ups a tenant, however many rows.
CREATE FUNCTION tenants_in_books(after text, at_most integer)
    RETURNS TABLE (tenant_id text, has_row boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
    WITH RECURSIVE named AS (
        SELECT coalesce(after, '') COLLATE "C" AS id
        UNION ALL
        SELECT least(
            (SELECT min(t.id) FROM tenants t WHERE t.id > named.id),
            (SELECT min(t.tenant_id) FROM payments t WHERE t.tenant_id > named.id),
            (SELECT min(t.tenant_id) FROM refunds t WHERE t.tenant_id > named.id),
            (SELECT min(t.tenant_id) FROM accounts t WHERE t.tenant_id > named.id),
            (SELECT min(t.tenant_id) FROM ledger_transfers t WHERE t.tenant_id > named.id),
            (SELECT min(t.tenant_id) FROM account_entries t WHERE t.tenant_id > named.id),
            (SELECT min(t.tenant_id) FROM sealed_transfers t WHERE t.tenant_id > named.id),
            (SELECT min(t.tenant_id) FROM ledger_seals t WHERE t.tenant_id > named.id),
            (SELECT min(t.tenant_id) FROM events t WHERE t.tenant_id > named.id),
            (SELECT min(t.tenant_id) FROM idempotency_records t WHERE t.tenant_id > named.id)
        )
        FROM named WHERE named.id IS NOT NULL
    )
    SELECT named.id, EXISTS (SELECT FROM tenants t WHERE t.id = named.id)
    FROM named WHERE named.id > coalesce(after, '') COLLATE "C" LIMIT at_most
    $$;

GRANT CREATE ON SCHEMA public TO fluxpay_writer;
ALTER FUNCTION tenants_in_books OWNER TO fluxpay_writer;
REVOKE CREATE ON SCHEMA public FROM fluxpay_writer;
REVOKE EXECUTE ON FUNCTION tenants_in_books FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_in_books TO fluxpay_app;
