-- Authorize, capture, void, refund, expire: what changes a payment after it was made.

ALTER TABLE ledger_transfers
    ADD COLUMN reverses text COLLATE "C",
    -- What is pending is set aside and has not moved; the kind says which it is.
    ADD COLUMN layer text COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        CASE WHEN kind IN ('authorization', 'release') THEN 'pending' ELSE 'posted' END
    ) STORED,
    DROP CONSTRAINT ledger_transfers_kind_check,
    ADD CONSTRAINT ledger_transfers_kind_check
        CHECK (kind IN ('authorization', 'release', 'capture', 'refund')),
    ADD CONSTRAINT ledger_transfers_reversal_check
        CHECK ((reverses IS NOT NULL) = (kind IN ('release', 'refund')));

CREATE OR REPLACE VIEW ledger_entries WITH (security_invoker = true) AS
    SELECT t.id || '_' || side.direction AS id,
           t.tenant_id,
           t.payment_id,
           side.account_id,
           side.direction,
           t.amount,
           t.currency,
           t.created_at,
           t.id AS transfer_id,
           t.layer,
           t.kind
    FROM ledger_transfers t
    CROSS JOIN LATERAL (
        VALUES ('debit', t.debit_account_id), ('credit', t.credit_account_id)
    ) AS side (direction, account_id);

CREATE TABLE refunds (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    payment_id text COLLATE "C" NOT NULL,
    amount bigint NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    reason text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX refunds_by_payment ON refunds (tenant_id, payment_id, id);
ALTER TABLE refunds ENABLE ROW LEVEL SECURITY;
ALTER TABLE refunds FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON refunds USING (tenant_id = (SELECT current_tenant()));
CREATE POLICY writer ON refunds TO fluxpay_writer USING (true) WITH CHECK (true);
GRANT SELECT ON refunds TO fluxpay_app;
GRANT SELECT, INSERT ON refunds TO fluxpay_writer;
GRANT UPDATE (status, amount_captured, amount_refunded, expires_at) ON payments TO fluxpay_writer;

-- What the worker looks for: authorizations whose time is over. Few payments have one.
CREATE INDEX payments_by_expiry ON payments (expires_at) WHERE expires_at IS NOT NULL;

-- Whoever changes a payment holds its row until the transaction ends. The service may not write
-- payments itself, so it may not lock them itself either.
CREATE FUNCTION lock_payment(wanted text) RETURNS SETOF payments
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
        SELECT * FROM public.payments WHERE tenant_id = public.current_tenant() AND id = wanted
        FOR UPDATE
    $$;

-- Writes a change of one payment of the tenant in force: payment, transfers, refund, record and
-- event. Tells whether it was written: false means that the key was claimed by another request
-- in the meantime, and then nothing may be committed.
CREATE FUNCTION change_payment(change json) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    tenant text := current_tenant();
BEGIN
    IF change -> 'record' IS NOT NULL THEN
        INSERT INTO idempotency_records (
            tenant_id, idempotency_key, fingerprint, resource_id, status, body, location, created_at
        )
        SELECT tenant, r.idempotency_key, decode(r.fingerprint, 'hex'), r.resource_id, r.status,
               r.body, r.location, r.created_at
        FROM json_to_record(change -> 'record') AS r (
            idempotency_key text, fingerprint text, resource_id text, status smallint, body text,
            location text, created_at timestamptz
        )
        ON CONFLICT (tenant_id, idempotency_key) DO NOTHING;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END IF;

    UPDATE payments p
    SET status = c.status, amount_captured = c.amount_captured,
        amount_refunded = c.amount_refunded, expires_at = c.expires_at
    FROM json_to_record(change -> 'payment') AS c (
        id text, status text, amount_captured bigint, amount_refunded bigint,
        expires_at timestamptz
    )
    WHERE p.tenant_id = tenant AND p.id = c.id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the payment of this change is not the tenant''s';
    END IF;

    INSERT INTO ledger_transfers (
        tenant_id, id, kind, payment_id, debit_account_id, credit_account_id, amount, currency,
        created_at, reverses
    )
    SELECT tenant, t.id, t.kind, change -> 'payment' ->> 'id', t.debit_account_id,
           t.credit_account_id, t.amount, t.currency, t.created_at, t.reverses
    FROM json_to_recordset(change -> 'transfers') AS t (
        id text, kind text, debit_account_id text, credit_account_id text, amount bigint,
        currency text, created_at timestamptz, reverses text
    );

    INSERT INTO refunds (tenant_id, id, payment_id, amount, currency, reason, created_at)
    SELECT tenant, r.id, change -> 'payment' ->> 'id', r.amount, r.currency, r.reason, r.created_at
    FROM json_to_record(change -> 'refund') AS r (
        id text, amount bigint, currency text, reason text, created_at timestamptz
    )
    WHERE r.id IS NOT NULL;

    INSERT INTO events (tenant_id, id, type, subject_id, data, created_at)
    SELECT tenant, e.id, e.type, e.subject_id, e.data, e.created_at
    FROM json_to_record(change -> 'event') AS e (
        id text, type text, subject_id text, data json, created_at timestamptz
    );
    RETURN true;
END
$$;

-- Authorizations whose time is over, the oldest first, of all tenants: for the worker alone.
CREATE FUNCTION due_authorizations(now_ timestamptz, at_most integer)
    RETURNS TABLE (tenant_id text, payment_id text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
        SELECT p.tenant_id, p.id FROM public.payments p
        WHERE p.expires_at <= now_ ORDER BY p.expires_at LIMIT at_most
    $$;

GRANT CREATE ON SCHEMA public TO fluxpay_writer;
ALTER FUNCTION lock_payment OWNER TO fluxpay_writer;
ALTER FUNCTION change_payment OWNER TO fluxpay_writer;
ALTER FUNCTION due_authorizations OWNER TO fluxpay_writer;
REVOKE CREATE ON SCHEMA public FROM fluxpay_writer;
REVOKE EXECUTE ON FUNCTION lock_payment, change_payment, due_authorizations FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lock_payment, change_payment, due_authorizations TO fluxpay_app;
