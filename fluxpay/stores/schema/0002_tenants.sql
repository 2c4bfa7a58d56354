-- Tenants and their API keys. Ids are TypeIDs, compared byte by byte whatever the database's locale.

CREATE TABLE tenants (
    id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^ten_[0-9a-z]{26}$'),
    generation bigint NOT NULL CHECK (generation >= 1),
    display_name text NOT NULL,
    environment text NOT NULL CHECK (environment IN ('live', 'test')),
    state text NOT NULL CHECK (state IN ('active', 'suspended')),
    currencies text[] NOT NULL,
    rate_limits jsonb NOT NULL DEFAULT '[]',
    payment_limits jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL,
    closed_at timestamptz
);

CREATE TABLE api_keys (
    tenant_id text COLLATE "C" NOT NULL REFERENCES tenants (id),
    id text COLLATE "C" NOT NULL CHECK (id ~ '^key_[0-9a-z]{26}$'),
    name text NOT NULL,
    prefix text NOT NULL,
    -- SHA-256 of the whole key, in hex. The key itself is never here.
    key_hash text COLLATE "C" NOT NULL CHECK (key_hash ~ '^[0-9a-f]{64}$'),
    scopes text[] NOT NULL,
    allowed_cidrs text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    not_before timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    is_active boolean NOT NULL GENERATED ALWAYS AS (revoked_at IS NULL) STORED,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, key_hash)
);

-- A caller brings a digest and no tenant; this is the one look-up that cannot start with one.
CREATE INDEX api_keys_by_key_hash ON api_keys (key_hash);

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenants USING (id = (SELECT current_tenant()));
CREATE POLICY writer_reads ON tenants FOR SELECT TO fluxpay_writer USING (true);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON api_keys USING (tenant_id = (SELECT current_tenant()));
CREATE POLICY writer_reads ON api_keys FOR SELECT TO fluxpay_writer USING (true);

GRANT SELECT, INSERT, UPDATE ON tenants, api_keys TO fluxpay_app;
GRANT SELECT ON tenants, api_keys TO fluxpay_writer;

-- The key with this digest, and its tenant.
CREATE FUNCTION find_api_key(digest text) RETURNS TABLE (key jsonb, tenant jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
        SELECT to_jsonb(k), to_jsonb(t) FROM public.api_keys k JOIN public.tenants t ON t.id = k.tenant_id
        WHERE k.key_hash = digest
    $$;

-- Who has this digest. A unique key without the tenant could not be distributed by tenant, so a
-- lock on the digest until the end of the transaction stands in for one.
CREATE FUNCTION hold_digest(digest text) RETURNS TABLE (tenant_id text, key_id text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended(digest, 1));
            RETURN QUERY SELECT k.tenant_id, k.id FROM public.api_keys k WHERE k.key_hash = digest;
        END
    $$;

-- All tenants, by id: for the admin API, the only reader that spans tenants.
CREATE FUNCTION list_tenants(after text, at_most integer) RETURNS SETOF tenants
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
        SELECT * FROM public.tenants WHERE after IS NULL OR id > after ORDER BY id LIMIT at_most
    $$;

GRANT CREATE ON SCHEMA public TO fluxpay_writer;
ALTER FUNCTION find_api_key OWNER TO fluxpay_writer;
ALTER FUNCTION hold_digest OWNER TO fluxpay_writer;
ALTER FUNCTION list_tenants OWNER TO fluxpay_writer;
REVOKE CREATE ON SCHEMA public FROM fluxpay_writer;
REVOKE EXECUTE ON FUNCTION find_api_key, hold_digest, list_tenants FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_api_key, hold_digest, list_tenants TO fluxpay_app;
