\set rest random(0, :rest_us)
\sleep :rest us
\set number :number + 1
\set payer random(1, 1000)
\set payee random(1001, 2000)
\set amount random(1, 100)
BEGIN;
UPDATE account SET balance = balance - :amount WHERE id = :payer;
UPDATE account SET balance = balance + :amount WHERE id = :payee;
INSERT INTO ledger VALUES (:client_id, :number, :payer, :payee, :amount, repeat(md5(:number::text), :payer % 40));
COMMIT;
