-- Reading one payment in one statement: the function's plan is kept by the session, where two
-- statements sent as text were planned anew for each request, which was half of what a read cost.
--
-- SECURITY INVOKER: the caller's row-level security applies, as it does to every read.

CREATE FUNCTION find_payment(of_tenant text, payment_id text) RETURNS SETOF payments
    LANGUAGE plpgsql
    AS $$
        BEGIN
            -- `true` makes the setting local: it ends with the transaction.
            PERFORM pg_catalog.set_config('fluxpay.tenant', of_tenant, true);
            RETURN QUERY
                SELECT * FROM public.payments p WHERE p.tenant_id = of_tenant AND p.id = payment_id;
        END
    $$;
REVOKE EXECUTE ON FUNCTION find_payment FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_payment TO fluxpay_app;
