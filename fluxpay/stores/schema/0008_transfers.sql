-- Transfers between a tenant's own accounts, and the accounts that are opened for them.
--
-- An account may have a rule: no transfer takes it below zero. Such an account is locked while a
-- transfer looks at its balance, so two at once never take the same money. An account without the
-- rule is not locked at all: its balance decides nothing, and a hot account stays as fast as any.
--
-- The rule binds transfers. A refund is owed, whatever the balance, and is never held up by it.
--
-- Whether an account has the rule must stand still meanwhile: each transfer holds the tenant's
-- rules shared, which waits for nobody but whoever changes a rule; that one holds them alone. So
-- no transfer that saw the account without its rule can commit after the rule was switched on.

CREATE FUNCTION account_rules_lock() RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
    AS $$ SELECT hashtextextended('fluxpay.account_rules ' || current_tenant(), 0) $$;

-- Holds the rules of the tenant in force alone, until the transaction ends.
CREATE FUNCTION lock_account_rules() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, public, pg_temp
    AS $$ SELECT pg_advisory_xact_lock(account_rules_lock()) $$;

-- The accounts of the tenant in force among these, locked where they have the rule. Each statement
-- of it sees what was committed while the one before it waited.
CREATE FUNCTION lock_accounts(wanted text[]) RETURNS SETOF accounts
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(account_rules_lock());
    -- In the order of their ids, so that opposing transfers wait for each other and never deadlock.
    PERFORM a.id FROM accounts a
    WHERE a.tenant_id = current_tenant() AND a.id = ANY (wanted) AND a.no_overdraft
    ORDER BY a.id FOR UPDATE;
    RETURN QUERY
        SELECT * FROM accounts a WHERE a.tenant_id = current_tenant() AND a.id = ANY (wanted);
END
$$;

-- Writes the reply to a request of the tenant in force; tells whether its key was free. What
-- follows a false must not be committed.
CREATE FUNCTION claim_key(reply json) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    INSERT INTO idempotency_records (
        tenant_id, idempotency_key, fingerprint, resource_id, status, body, location, created_at
    )
    SELECT current_tenant(), r.idempotency_key, decode(r.fingerprint, 'hex'), r.resource_id,
           r.status, r.body, r.location, r.created_at
    FROM json_to_record(reply) AS r (
        idempotency_key text, fingerprint text, resource_id text, status smallint, body text,
        location text, created_at timestamptz
    )
    ON CONFLICT (tenant_id, idempotency_key) DO NOTHING;
    RETURN FOUND;
END
$$;

-- The same for a reply that stands alone: a whole batch's, whose payments have records of their own.
CREATE FUNCTION record_reply(reply json) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$ SELECT public.claim_key(reply) $$;

-- Writes a transfer of the tenant in force with its record and its event; tells whether the key
-- was free.
CREATE FUNCTION post_transfer(posting json) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    tenant text := current_tenant();
BEGIN
    IF NOT claim_key(posting -> 'record') THEN
        RETURN false;
    END IF;

    INSERT INTO ledger_transfers (
        tenant_id, id, kind, debit_account_id, credit_account_id, amount, currency, description,
        created_at
    )
    SELECT tenant, t.id, 'transfer', debit.id, credit.id, t.amount, t.currency, t.description,
           t.created_at
    FROM json_to_record(posting -> 'transfer') AS t (
        id text, debit_account_id text, credit_account_id text, amount bigint, currency text,
        description text, created_at timestamptz
    )
    JOIN accounts debit ON debit.tenant_id = tenant AND debit.id = t.debit_account_id
                       AND debit.currency = t.currency
    JOIN accounts credit ON credit.tenant_id = tenant AND credit.id = t.credit_account_id
                        AND credit.currency = t.currency;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'an account of this transfer is not the tenant''s, or of another currency';
    END IF;

    INSERT INTO events (tenant_id, id, type, subject_id, data, created_at)
    SELECT tenant, e.id, e.type, e.subject_id, e.data, e.created_at
    FROM json_to_record(posting -> 'event') AS e (
        id text, type text, subject_id text, data json, created_at timestamptz
    );
    RETURN true;
END
$$;

-- Opens an account of the tenant in force, or writes the rule of the one there is, with the
-- record; tells whether the key was free. What an account is never changes. Without an account
-- only the record is written: all was as wanted.
CREATE FUNCTION put_account(change json) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF NOT claim_key(change -> 'record') THEN
        RETURN false;
    END IF;

    IF change -> 'account' IS NULL THEN
        RETURN true;
    END IF;

    INSERT INTO accounts AS a (tenant_id, id, kind, currency, no_overdraft, created_at)
    SELECT current_tenant(), c.id, c.kind, c.currency, c.no_overdraft, c.created_at
    FROM json_to_record(change -> 'account') AS c (
        id text, kind text, currency text, no_overdraft boolean, created_at timestamptz
    )
    ON CONFLICT (tenant_id, id) DO UPDATE SET no_overdraft = excluded.no_overdraft
        WHERE a.no_overdraft <> excluded.no_overdraft;
    RETURN true;
END
$$;

GRANT CREATE ON SCHEMA public TO fluxpay_writer;
ALTER FUNCTION lock_accounts OWNER TO fluxpay_writer;
ALTER FUNCTION claim_key OWNER TO fluxpay_writer;
ALTER FUNCTION record_reply OWNER TO fluxpay_writer;
ALTER FUNCTION post_transfer OWNER TO fluxpay_writer;
ALTER FUNCTION put_account OWNER TO fluxpay_writer;
REVOKE CREATE ON SCHEMA public FROM fluxpay_writer;
REVOKE EXECUTE ON FUNCTION account_rules_lock, lock_account_rules, lock_accounts, claim_key,
    record_reply, post_transfer, put_account FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account_rules_lock TO fluxpay_app, fluxpay_writer;
GRANT EXECUTE ON FUNCTION lock_account_rules, lock_accounts, record_reply, post_transfer,
    put_account TO fluxpay_app;
