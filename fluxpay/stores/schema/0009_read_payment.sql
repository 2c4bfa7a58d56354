-- Reading one payment in one statement and as one value. The function's plan is kept by the session,
-- where two statements sent as text were planned anew for each request; and one value spares the
-- thirteen columns of a row, of each of which the driver makes an object, and of its name another.
--
-- SECURITY INVOKER: the caller's row-level security applies, as it does to every read.

CREATE FUNCTION read_payment(of_tenant text, payment_id text) RETURNS text
    LANGUAGE plpgsql
    AS $$
        BEGIN
            -- `true` makes the setting local: it ends with the transaction.
            PERFORM pg_catalog.set_config('fluxpay.tenant', of_tenant, true);
            -- Text, since the driver would parse json, and slowly.
            RETURN (
                SELECT pg_catalog.row_to_json(p)::text FROM public.payments p
                WHERE p.tenant_id = of_tenant AND p.id = payment_id
            );
        END
    $$;
REVOKE EXECUTE ON FUNCTION read_payment FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read_payment TO fluxpay_app;
