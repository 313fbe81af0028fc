-- From version 1: its tables step aside, schema.sql runs, migrate_1_after.sql takes over what they
-- hold. All in one transaction.
DROP VIEW leaderboard;
DROP VIEW pareto;
DROP VIEW lineage;
DROP VIEW failures;
DROP INDEX trial_by_block;
ALTER TABLE study RENAME TO study_1;
ALTER TABLE trial RENAME TO trial_1;
ALTER TABLE sublayer RENAME TO sublayer_1;
ALTER TABLE measurement RENAME TO measurement_1;
ALTER TABLE curve RENAME TO curve_1;
ALTER TABLE artifact RENAME TO artifact_1;
ALTER TABLE note RENAME TO note_1;
