-- What a payment commits, written by hand: four rows in one transaction, one payment at a time.
--
-- The rows have the columns, the lengths and the order of the service's own: a hundred tenants,
-- ids that grow with time, keys that are spread. `base` is given anew to each run.
-- What a client knows of a payment comes as parameters, as it does from any client: as literals it
-- would be parsed once, when the statement is prepared, and never again. See `pgbench.py`.
\set n :n + 1
\set id :base + :n * 100 + :client_id
\set t random(1000, 1099)
\set r random(1000000000000000000, 9000000000000000000)
BEGIN;
INSERT INTO idempotency_records (tenant_id, idempotency_key, fingerprint, resource_id, status, body, location, created_at) VALUES ('ten_01m82vg9s4ezka7k9xavmd' || :t, 'k' || :r, :fingerprint, 'pay_01m82vg9s4' || :id, :code, :body, :location, :created_at);
INSERT INTO payments (tenant_id, id, amount, currency, status, amount_captured, amount_refunded, capture, reference, metadata, idempotency_key, created_at) VALUES ('ten_01m82vg9s4ezka7k9xavmd' || :t, 'pay_01m82vg9s4' || :id, :amount, :currency, :status, :amount, 0, :capture, :reference, :metadata, 'k' || :r, :created_at);
INSERT INTO ledger_transfers (tenant_id, id, kind, payment_id, debit_account_id, credit_account_id, amount, currency, created_at) VALUES ('ten_01m82vg9s4ezka7k9xavmd' || :t, 'trf_01m82vg9s4' || :id, :kind, 'pay_01m82vg9s4' || :id, 'acc_2j8yh1vh5f8c0s3w9w1y8n' || :t, 'acc_7j8yh1vh5f8c0s3w9w1y8n' || :t, :amount, :currency, :created_at);
INSERT INTO events (tenant_id, id, type, subject_id, data, created_at) VALUES ('ten_01m82vg9s4ezka7k9xavmd' || :t, 'evt_01m82vg9s4' || :id, :event, 'pay_01m82vg9s4' || :id, :body, :created_at);
COMMIT;
