-- The atomic way of posting: all payments of a batch in one transaction, or none of them.
--
-- The outcomes are those of `post_payments`, and one more:
--
-- outcome     aborted     this item was sound, and was undone since another of its batch could not
--                         be posted
--
-- The caller learns the outcome of every item either way. A replayed item is no obstacle: it was
-- done before. `FPA01` is private to this function: it undoes the block that posted, and its
-- variables keep what they were told before.

CREATE FUNCTION post_payments_atomically(items json)
    RETURNS TABLE (
        payment_id text, outcome text, resource_id text, status smallint, body text, location text
    )
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    told json;
    is_aborted boolean := false;
BEGIN
    BEGIN
        SELECT json_agg(p) INTO told FROM post_payments(items) AS p;
        IF EXISTS (
            SELECT FROM json_to_recordset(told) AS t (outcome text)
            WHERE t.outcome NOT IN ('posted', 'replayed')
        ) THEN
            RAISE EXCEPTION USING ERRCODE = 'FPA01', MESSAGE = 'the batch is undone';
        END IF;
    EXCEPTION WHEN SQLSTATE 'FPA01' THEN
        is_aborted := true;
    END;

    RETURN QUERY
        SELECT t.payment_id,
               CASE WHEN is_aborted AND t.outcome = 'posted' THEN 'aborted' ELSE t.outcome END,
               t.resource_id, t.status, t.body, t.location
        FROM json_to_recordset(told) AS t (
            payment_id text, outcome text, resource_id text, status smallint, body text,
            location text
        );
END
$$;

GRANT CREATE ON SCHEMA public TO fluxpay_writer;
ALTER FUNCTION post_payments_atomically OWNER TO fluxpay_writer;
REVOKE CREATE ON SCHEMA public FROM fluxpay_writer;
REVOKE EXECUTE ON FUNCTION post_payments_atomically FROM PUBLIC;
GRANT EXECUTE ON FUNCTION post_payments_atomically TO fluxpay_app;
