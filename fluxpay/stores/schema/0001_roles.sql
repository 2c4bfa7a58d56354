-- Two roles beside the owner, who runs these files and never serves a request.
--
-- fluxpay_app     the service: reads under row-level security, writes money through functions only
-- fluxpay_writer  nobody logs in as it; it owns the functions that may cross tenants, and has
--                 policies of its own on just the tables they need (no BYPASSRLS, which managed
--                 Postgres may not grant)
--
-- Roles belong to the whole server, so they may be there already: from another database, or made
-- beforehand by whoever hands out passwords.

DO $$
BEGIN
    BEGIN
        CREATE ROLE fluxpay_app LOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
    END;
    BEGIN
        CREATE ROLE fluxpay_writer NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
    END;
    -- To give a function to a role one has to be able to become it.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT fluxpay_writer TO %I', current_user);
    END IF;
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO fluxpay_app, fluxpay_writer;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT SELECT ON schema_migrations TO fluxpay_app;

-- The tenant in force. After SET LOCAL has ended the setting is '' and not NULL; neither is an id.
CREATE FUNCTION current_tenant() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('fluxpay.tenant', true), '');
GRANT EXECUTE ON FUNCTION current_tenant() TO PUBLIC;
