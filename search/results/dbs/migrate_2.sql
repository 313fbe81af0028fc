-- From version 2, whose tables stay: what the probe found of the mode that ranks. Views step aside for
-- those of schema.sql, which runs next.
DROP VIEW trials;
DROP VIEW leaderboard;
DROP VIEW blocks;
DROP VIEW pareto;
DROP VIEW lineage;
DROP VIEW failures;
ALTER TABLE measurement ADD COLUMN ranked_causal TEXT NOT NULL DEFAULT '';
