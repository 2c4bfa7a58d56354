-- The commit path: many payments in one statement, each with its own answer.
--
-- Each item is posted as payment, transfer, idempotency record and event, or not at all. Asking
-- again with the same items changes nothing and gives the same answers, so a caller whose reply
-- was lost simply asks again.
--
-- outcome     posted      this item is committed, by this call or by one whose reply was lost
--             replayed    its key was used for the same request before; status, body and location
--                         are the reply given then
--             mismatched  its key was used for another request
--             expired     its key names a payment whose reply is no longer kept
--             unsettled   its key was in use and came free meanwhile; ask again
--
-- Claims are inserted in sorted order and accounts in sorted order after all of them, so that two
-- batches with the same keys wait for each other and never deadlock. An insert that lost waits for
-- its twin to end; what the twin wrote is then read by a new statement, since the first one's
-- snapshot did not see it.

CREATE FUNCTION post_payments(items json)
    RETURNS TABLE (
        payment_id text, outcome text, resource_id text, status smallint, body text, location text
    )
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    claimed_ids text[];
    posted_ids text[];
BEGIN
    WITH item AS MATERIALIZED (
        SELECT * FROM json_to_recordset(items) AS i (
            tenant_id text, payment_id text, transfer_id text, event_id text, event_type text,
            transfer_kind text, debit_account_id text, debit_kind text, credit_account_id text,
            credit_kind text, amount bigint, currency text, payment_status text,
            amount_captured bigint, amount_refunded bigint, capture text, description text,
            reference text, metadata jsonb, idempotency_key text, fingerprint text,
            reply_status smallint, reply_body text, reply_location text, created_at timestamptz,
            expires_at timestamptz
        )
    ), claimed AS (
        INSERT INTO idempotency_records AS r (
            tenant_id, idempotency_key, fingerprint, resource_id, status, body, location, created_at
        )
        SELECT tenant_id, idempotency_key, decode(fingerprint, 'hex'), payment_id, reply_status,
               reply_body, reply_location, created_at
        FROM item ORDER BY tenant_id COLLATE "C", idempotency_key COLLATE "C"
        ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
        RETURNING r.tenant_id, r.resource_id
    ), mine AS MATERIALIZED (
        SELECT item.* FROM item
        JOIN claimed ON claimed.tenant_id = item.tenant_id
                    AND claimed.resource_id = item.payment_id
    ), opened AS (
        INSERT INTO accounts (tenant_id, id, kind, currency, created_at)
        SELECT tenant_id, account_id, kind, currency, min(created_at)
        FROM (
            SELECT tenant_id, debit_account_id AS account_id, debit_kind AS kind, currency,
                   created_at
            FROM mine
            UNION ALL
            SELECT tenant_id, credit_account_id, credit_kind, currency, created_at FROM mine
        ) AS used
        WHERE NOT EXISTS (
            SELECT FROM accounts a WHERE a.tenant_id = used.tenant_id AND a.id = used.account_id
        )
        GROUP BY tenant_id, account_id, kind, currency
        ORDER BY tenant_id COLLATE "C", account_id COLLATE "C"
        ON CONFLICT (tenant_id, id) DO NOTHING
    ), posted AS (
        INSERT INTO payments AS p (
            tenant_id, id, amount, currency, status, amount_captured, amount_refunded, capture,
            description, reference, metadata, idempotency_key, created_at, expires_at
        )
        SELECT tenant_id, payment_id, amount, currency, payment_status, amount_captured,
               amount_refunded, capture, description, reference, metadata, idempotency_key,
               created_at, expires_at
        FROM mine
        -- Conflicts only where the record was purged and the payment is still there.
        ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
        RETURNING p.tenant_id, p.id
    ), moved AS (
        INSERT INTO ledger_transfers (
            tenant_id, id, kind, payment_id, debit_account_id, credit_account_id, amount, currency,
            created_at
        )
        SELECT mine.tenant_id, transfer_id, transfer_kind, payment_id, debit_account_id,
               credit_account_id, amount, currency, created_at
        FROM mine
        JOIN posted ON posted.tenant_id = mine.tenant_id AND posted.id = mine.payment_id
    ), told AS (
        INSERT INTO events (tenant_id, id, type, subject_id, data, created_at)
        SELECT mine.tenant_id, event_id, event_type, payment_id, reply_body::json, created_at
        FROM mine
        JOIN posted ON posted.tenant_id = mine.tenant_id AND posted.id = mine.payment_id
    )
    SELECT (SELECT array_agg(claimed.resource_id) FROM claimed),
           (SELECT array_agg(posted.id) FROM posted)
    INTO claimed_ids, posted_ids;

    IF cardinality(posted_ids) = json_array_length(items) THEN
        RETURN QUERY
            SELECT one, 'posted', one, NULL::smallint, NULL::text, NULL::text
            FROM unnest(posted_ids) AS one;
        RETURN;
    END IF;

    -- A claim without its payment: the key names an older payment, so the claim is given back.
    DELETE FROM idempotency_records r
    USING json_to_recordset(items) AS i (tenant_id text, idempotency_key text, payment_id text)
    WHERE r.tenant_id = i.tenant_id
      AND r.idempotency_key = i.idempotency_key
      AND r.resource_id = i.payment_id
      AND i.payment_id = ANY (claimed_ids)
      AND i.payment_id <> ALL (coalesce(posted_ids, '{}'));

    RETURN QUERY
        SELECT i.payment_id,
               CASE
                   WHEN r.resource_id = i.payment_id THEN 'posted'
                   WHEN r.fingerprint = decode(i.fingerprint, 'hex') THEN 'replayed'
                   WHEN r.fingerprint IS NOT NULL THEN 'mismatched'
                   WHEN p.id IS NOT NULL THEN 'expired'
                   ELSE 'unsettled'
               END,
               coalesce(r.resource_id, p.id),
               r.status,
               r.body,
               r.location
        FROM json_to_recordset(items) AS i (
            tenant_id text, payment_id text, idempotency_key text, fingerprint text
        )
        LEFT JOIN idempotency_records r
            ON r.tenant_id = i.tenant_id AND r.idempotency_key = i.idempotency_key
        LEFT JOIN payments p
            ON p.tenant_id = i.tenant_id AND p.idempotency_key = i.idempotency_key;
END
$$;

GRANT CREATE ON SCHEMA public TO fluxpay_writer;
ALTER FUNCTION post_payments OWNER TO fluxpay_writer;
REVOKE CREATE ON SCHEMA public FROM fluxpay_writer;
REVOKE EXECUTE ON FUNCTION post_payments FROM PUBLIC;
GRANT EXECUTE ON FUNCTION post_payments TO fluxpay_app;
