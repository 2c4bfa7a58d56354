-- Payments and the books. What the core decides is said a second time here, as constraints.
--
-- Every table and every unique key starts with the tenant, so the schema can be distributed by
-- tenant as it is. There are no foreign keys between these tables: one from a transfer to its
-- payment makes a batch half as expensive again, and only post_payments() can write here, which
-- writes both or neither.

CREATE TABLE payments (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    amount bigint NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status text COLLATE "C" NOT NULL CHECK (
        status IN ('authorized', 'partially_captured', 'captured', 'partially_refunded',
                   'refunded', 'voided', 'expired')
    ),
    amount_captured bigint NOT NULL,
    amount_refunded bigint NOT NULL,
    capture text COLLATE "C" NOT NULL CHECK (capture IN ('automatic', 'manual')),
    description text,
    reference text COLLATE "C",
    metadata jsonb NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    -- Idempotency, layer 2: right even when Redis and the reply's record are gone.
    UNIQUE (tenant_id, idempotency_key),
    CHECK (amount_captured BETWEEN 0 AND amount),
    CHECK (amount_refunded BETWEEN 0 AND amount_captured)
);
CREATE INDEX payments_by_reference ON payments (tenant_id, reference, id)
    WHERE reference IS NOT NULL;

CREATE TABLE accounts (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('merchant', 'platform')),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- One row is one balanced pair, so a ledger that does not balance cannot be written at all.
CREATE TABLE ledger_transfers (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('capture')),
    payment_id text COLLATE "C" NOT NULL,
    debit_account_id text COLLATE "C" NOT NULL,
    credit_account_id text COLLATE "C" NOT NULL,
    amount bigint NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CHECK (debit_account_id <> credit_account_id)
);
CREATE INDEX ledger_transfers_by_payment ON ledger_transfers (tenant_id, payment_id);

-- The same rows read as double entry. security_invoker: the reader's row-level security applies.
CREATE VIEW ledger_entries WITH (security_invoker = true) AS
    SELECT t.id || '_' || side.direction AS id,
           t.tenant_id,
           t.payment_id,
           side.account_id,
           side.direction,
           t.amount,
           t.currency,
           t.created_at,
           t.id AS transfer_id
    FROM ledger_transfers t
    CROSS JOIN LATERAL (
        VALUES ('debit', t.debit_account_id), ('credit', t.credit_account_id)
    ) AS side (direction, account_id);

CREATE TABLE idempotency_records (
    tenant_id text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    -- What the request made, such as a payment.
    resource_id text COLLATE "C" NOT NULL,
    status smallint NOT NULL,
    -- Text and not json: a replay is the first answer byte for byte.
    body text NOT NULL,
    location text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, idempotency_key)
);

-- The outbox: written in the transaction that made the event true.
CREATE TABLE events (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    subject_id text COLLATE "C" NOT NULL,
    data json NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY[
        'payments', 'accounts', 'ledger_transfers', 'idempotency_records', 'events'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', one);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', one);
        -- The sub-select makes Postgres read the setting once a statement, not once a row.
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT current_tenant()))',
            one
        );
        -- A batch spans tenants; each row takes its tenant from its item, as the core set it.
        EXECUTE format(
            'CREATE POLICY writer ON %I TO fluxpay_writer USING (true) WITH CHECK (true)', one
        );
        EXECUTE format('GRANT SELECT ON %I TO fluxpay_app', one);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO fluxpay_writer', one);
    END LOOP;
END
$$;
GRANT SELECT ON ledger_entries TO fluxpay_app;
-- To give back a claim whose payment turns out to exist already; see post_payments().
GRANT DELETE ON idempotency_records TO fluxpay_writer;

-- Append-only a second time: whoever has the privilege still cannot.
CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'Correct a transfer with one that reverses it.';
        END
    $$;
CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON ledger_transfers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_table BEFORE TRUNCATE ON ledger_transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
