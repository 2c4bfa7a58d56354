-- What a payment commits, written by hand: four rows in one transaction, one payment at a time.
--
-- The rows have the columns, the lengths and the order of the service's own: a hundred tenants,
-- ids that grow with time, keys that are spread. `base` is given anew to each run.
-- A colon before a word is a variable of pgbench, so the documents write theirs as \u003a there.
\set n :n + 1
\set id :base + :n * 100 + :client_id
\set t random(1000, 1099)
\set r random(1000000000000000000, 9000000000000000000)
BEGIN;
INSERT INTO idempotency_records (tenant_id, idempotency_key, fingerprint, resource_id, status, body, location, created_at) VALUES ('ten_01m82vg9s4ezka7k9xavmd' || :t, 'k' || :r, '\x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'pay_01m82vg9s4' || :id, 201, E'{"id":"pay_01m82vg9s4ezka7k9xavmdesq4","object":"payment","amount"\u003a1250,"currency":"EUR","status":"captured","amount_captured"\u003a1250,"amount_refunded"\u003a0,"capture":"automatic","description"\u003anull,"reference":"order-7","metadata":{},"created_at":"2026-11-23T00-04-44.452Z","expires_at"\u003anull}', '/v1/payments/pay_01m82vg9s4ezka7k9xavmdesq4', now());
INSERT INTO payments (tenant_id, id, amount, currency, status, amount_captured, amount_refunded, capture, reference, metadata, idempotency_key, created_at) VALUES ('ten_01m82vg9s4ezka7k9xavmd' || :t, 'pay_01m82vg9s4' || :id, 1250, 'EUR', 'captured', 1250, 0, 'automatic', 'order-7', '{}', 'k' || :r, now());
INSERT INTO ledger_transfers (tenant_id, id, kind, payment_id, debit_account_id, credit_account_id, amount, currency, created_at) VALUES ('ten_01m82vg9s4ezka7k9xavmd' || :t, 'trf_01m82vg9s4' || :id, 'capture', 'pay_01m82vg9s4' || :id, 'acc_2j8yh1vh5f8c0s3w9w1y8n' || :t, 'acc_7j8yh1vh5f8c0s3w9w1y8n' || :t, 1250, 'EUR', now());
INSERT INTO events (tenant_id, id, type, subject_id, data, created_at) VALUES ('ten_01m82vg9s4ezka7k9xavmd' || :t, 'evt_01m82vg9s4' || :id, 'payment.captured', 'pay_01m82vg9s4' || :id, E'{"id":"pay_01m82vg9s4ezka7k9xavmdesq4","object":"payment","amount"\u003a1250,"currency":"EUR","status":"captured","amount_captured"\u003a1250,"amount_refunded"\u003a0,"capture":"automatic","description"\u003anull,"reference":"order-7","metadata":{},"created_at":"2026-11-23T00-04-44.452Z","expires_at"\u003anull}', now());
COMMIT;
