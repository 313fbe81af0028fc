-- Moebius results, version 3. One file holds many studies; every fact that a report needs is a typed
-- column, and `sqlite3 FILE 'select * from blocks'` works without the program.
-- A trial is named by its study and its number in it, in every table. Tables are called in the
-- singular and name a study by its id; views that spread them out are called in the plural and name
-- a study by its name. A file of version 2 has these tables already (migrate_2.sql).

-- What is searched. Settings are fixed when the study is opened; resuming compares them.
CREATE TABLE IF NOT EXISTS study (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  files TEXT NOT NULL UNIQUE CHECK (length(files) = 32),  -- random; names the folder of its files
  space TEXT NOT NULL,  -- space, recipe, options, provenance: JSON
  recipe TEXT NOT NULL,
  options TEXT NOT NULL,
  seed INTEGER NOT NULL,  -- 64 bits; above 2^63 it reads as negative
  lag INTEGER NOT NULL CHECK (lag >= 1),
  provenance TEXT NOT NULL,
  redrawn INTEGER NOT NULL DEFAULT 0 CHECK (redrawn >= 0),  -- draws that the constraints refused
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TABLE IF NOT EXISTS trial (
  study INTEGER NOT NULL REFERENCES study (id),
  number INTEGER NOT NULL CHECK (number >= 0),
  role TEXT NOT NULL CHECK (role IN ('baseline', 'search', 'rerun', 'noise', 'control', 'scaled')),
  label TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN
    ('waiting', 'running', 'done', 'pruned', 'diverged', 'infeasible', 'out_of_memory', 'failed')),
  attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),  -- of the last claim: the fence
  resumable INTEGER NOT NULL DEFAULT 0 CHECK (resumable IN (0, 1)),  -- released gracefully
  lost INTEGER NOT NULL DEFAULT 0 CHECK (lost >= 0),  -- attempts that died with a process
  block TEXT NOT NULL,  -- one letter a sub-layer and the stacks: 'agaf x6'
  d_model INTEGER NOT NULL,
  stacks INTEGER NOT NULL,
  point TEXT,           -- JSON, the choice of each slot; NULL: not in the space
  spec TEXT NOT NULL,   -- JSON, moebius.block/1
  spec_hash TEXT NOT NULL CHECK (length(spec_hash) = 32),
  parent INTEGER CHECK (parent < number),  -- a number of the same study
  operator TEXT,                           -- what made the block out of its parent's
  seed INTEGER NOT NULL,
  budget TEXT,  -- NULL: the study's
  recipe TEXT,  -- JSON; NULL: the study's
  owner TEXT NOT NULL DEFAULT '',
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  started TEXT,  -- of the last attempt
  ended TEXT,
  PRIMARY KEY (study, number),
  FOREIGN KEY (study, parent) REFERENCES trial (study, number),
  CHECK (state IN ('waiting', 'failed') OR attempt >= 1)
) STRICT;
CREATE INDEX IF NOT EXISTS trial_by_block ON trial (study, spec_hash, number, role);
CREATE INDEX IF NOT EXISTS trial_by_state ON trial (study, role, state, number);
CREATE INDEX IF NOT EXISTS open_trial ON trial (study, number) WHERE state IN ('waiting', 'running');

-- One row per field of each sub-layer, `type` among them. The view `sublayers`, which whoever writes
-- makes from the fields that the types of the stored blocks declare, has one row per sub-layer.
CREATE TABLE IF NOT EXISTS sublayer (
  study INTEGER NOT NULL,
  number INTEGER NOT NULL,
  position TEXT NOT NULL,  -- a path: '3'; '3/0' is the first one inside it
  field TEXT NOT NULL,
  value ANY NOT NULL,
  PRIMARY KEY (study, number, position, field),
  FOREIGN KEY (study, number) REFERENCES trial (study, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- One row per ended attempt. NULL = not measured. Losses are nats per token.
CREATE TABLE IF NOT EXISTS measurement (
  study INTEGER NOT NULL,
  number INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  ending TEXT NOT NULL CHECK (ending IN
    ('done', 'pruned', 'diverged', 'infeasible', 'out_of_memory', 'failed')),
  message TEXT NOT NULL DEFAULT '',
  loss REAL CHECK (abs(loss) < 1e30),
  native_loss REAL,
  stopped_loss REAL,
  stopped_step INTEGER NOT NULL,
  bits_per_byte REAL,
  causal TEXT NOT NULL,
  split TEXT NOT NULL,
  epochs REAL,
  steps INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  flops REAL,
  cpu_seconds REAL,
  wall_seconds REAL,
  virtual_seconds REAL,
  step_seconds REAL,
  step_ratio REAL,
  parameters INTEGER NOT NULL,
  active_parameters INTEGER NOT NULL,
  active_flops REAL,
  peak_bytes INTEGER NOT NULL,
  kept_pairs REAL,
  dropped_pairs REAL,
  tokens_per_active_parameter REAL,
  result_hash TEXT NOT NULL,
  ranked_causal TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (study, number, attempt),
  FOREIGN KEY (study, number) REFERENCES trial (study, number) ON DELETE CASCADE,
  CHECK ((ending = 'done') = (loss IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS measurement_by_loss ON measurement (study, loss) WHERE loss IS NOT NULL;

CREATE TABLE IF NOT EXISTS curve (
  study INTEGER NOT NULL,
  number INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  step INTEGER NOT NULL,
  train_loss REAL,
  valid_loss REAL,
  cpu_seconds REAL,
  PRIMARY KEY (study, number, attempt, step),
  FOREIGN KEY (study, number) REFERENCES trial (study, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS artifact (
  study INTEGER NOT NULL,
  number INTEGER NOT NULL,
  kind TEXT NOT NULL,
  path TEXT NOT NULL,
  hash TEXT NOT NULL,
  gone INTEGER NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)),
  PRIMARY KEY (study, number, kind),
  FOREIGN KEY (study, number) REFERENCES trial (study, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Small values that a study fixes once ("baseline_step_seconds").
CREATE TABLE IF NOT EXISTS note (
  study INTEGER NOT NULL REFERENCES study (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (study, key)
) STRICT, WITHOUT ROWID;

-- Every trial with what its last attempt measured, if that has ended. The words of this view are
-- those of every listing, of --where and --sort, and of JSON.
CREATE VIEW trials AS
SELECT study.name AS study, trial.number, role, nullif(label, '') AS label, state, block, loss,
       native_loss, native_loss - loss AS gap, stopped_loss, stopped_step, bits_per_byte,
       nullif(causal, '') AS causal, nullif(ranked_causal, '') AS ranked_causal, split, epochs, steps, tokens, flops, cpu_seconds, wall_seconds, virtual_seconds, step_seconds,
       step_ratio, parameters, active_parameters, active_flops, peak_bytes, kept_pairs,
       dropped_pairs, tokens_per_active_parameter, nullif(result_hash, '') AS result_hash,
       d_model, stacks, parent, operator, trial.seed, budget, trial.recipe, trial.attempt, lost, nullif(owner, '') AS owner,
       trial.created, started, trial.ended, spec_hash, nullif(message, '') AS message
FROM trial
JOIN study ON study.id = trial.study
LEFT JOIN measurement ON measurement.study = trial.study AND measurement.number = trial.number
                     AND measurement.attempt = trial.attempt;

-- Ended trials, best first: finished by loss, pruned by the loss they were stopped at, then the
-- rest; the number breaks ties. `causal` is of training; `loss` is of an evaluation that sees no future.
CREATE VIEW leaderboard AS
SELECT study,
       row_number() OVER (PARTITION BY study ORDER BY state <> 'done', state <> 'pruned', loss,
         CASE state WHEN 'pruned' THEN stopped_loss END NULLS LAST, number) AS rank,
       number, role, label, state, block, loss, stopped_loss, causal, native_loss, gap, bits_per_byte,
       tokens, steps, step_seconds, step_ratio, parameters, active_parameters, active_flops,
       tokens_per_active_parameter, peak_bytes, seed, parent, operator, spec_hash, message
FROM trials
WHERE state NOT IN ('waiting', 'running')
ORDER BY study, rank;

-- Blocks that have a loss, over all their seeds: the lowest mean first, among equals the one whose
-- first trial came first. This is the order of `moebius top`, and "best" means it everywhere. Role,
-- label and sizes are those of the first trial; fresh seeds are those of reruns and noise trials.
CREATE VIEW blocks AS
WITH
one AS (
  SELECT trial.study, trial.number, role, spec_hash, loss, native_loss, bits_per_byte, causal,
         step_seconds, step_ratio, tokens_per_active_parameter,
         iif(role IN ('rerun', 'noise'), loss, NULL) AS fresh
  FROM trial
  JOIN measurement m ON m.study = trial.study AND m.number = trial.number
  WHERE loss IS NOT NULL),
grouped AS (
  SELECT study AS study_id, min(number) AS number, spec_hash, avg(loss) AS loss, count(*) AS seeds,
         avg(fresh) AS fresh_loss, count(fresh) AS fresh_seeds, min(loss) AS lowest, max(loss) AS highest,
         max(CASE causal WHEN 'selection' THEN 3 WHEN 'drops' THEN 2 WHEN 'yes' THEN 1 END) AS worst,
         avg(native_loss) AS native_loss, avg(bits_per_byte) AS bits_per_byte,
         avg(iif(step_seconds > 0, step_seconds, NULL)) AS step_seconds,
         avg(step_ratio) AS measured_ratio,
         avg(tokens_per_active_parameter) AS tokens_per_active_parameter
  FROM one GROUP BY study, spec_hash),
baseline AS (
  SELECT study AS study_id, spec_hash, step_seconds FROM one WHERE number = 0 AND role = 'baseline')
SELECT study.name AS study, g.number, origin.role, nullif(origin.label, '') AS label, origin.block,
       g.loss,
       CASE WHEN seeds > 1 THEN
         (SELECT sqrt(sum((one.loss - g.loss) * (one.loss - g.loss)) / (g.seeds - 1)) FROM one
          WHERE one.study = g.study_id AND one.spec_hash = g.spec_hash) END AS sd,
       seeds, fresh_loss, fresh_seeds, lowest, highest,
       g.loss - (SELECT avg(one.loss) FROM one WHERE one.study = g.study_id
                 AND one.spec_hash = b.spec_hash) AS over_baseline,
       CASE worst WHEN 3 THEN 'selection' WHEN 2 THEN 'drops' WHEN 1 THEN 'yes' END AS causal,
       g.native_loss, g.native_loss - g.loss AS gap, g.bits_per_byte, g.step_seconds,
       coalesce(measured_ratio, g.step_seconds / b.step_seconds) AS step_ratio, m.parameters,
       m.active_parameters, g.tokens_per_active_parameter, g.spec_hash
FROM grouped g
JOIN study ON study.id = g.study_id
JOIN trial origin ON origin.study = g.study_id AND origin.number = g.number
JOIN measurement m ON m.study = g.study_id AND m.number = g.number AND m.loss IS NOT NULL
LEFT JOIN baseline b ON b.study_id = g.study_id
ORDER BY study.name, g.loss, g.number;

-- Finished trials that no other of their study beats in loss and in step time.
CREATE VIEW pareto AS
SELECT study, number, role, label, block, loss, step_seconds, causal, parameters,
       active_parameters, spec_hash
FROM (
  SELECT *, min(loss) OVER (PARTITION BY study ORDER BY step_seconds, loss, number
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best_faster
  FROM trials WHERE state = 'done' AND step_seconds > 0)
WHERE best_faster IS NULL OR loss < best_faster
ORDER BY study, step_seconds;

-- Every trial with each of its ancestors; distance 0 is the trial itself.
CREATE VIEW lineage AS
WITH RECURSIVE line (study, number, ancestor, distance) AS (
  SELECT study, number, number, 0 FROM trial
  UNION ALL
  SELECT line.study, line.number, trial.parent, line.distance + 1
  FROM line JOIN trial ON trial.study = line.study AND trial.number = line.ancestor
  WHERE trial.parent IS NOT NULL)
SELECT study.name AS study, line.number, line.distance, line.ancestor, trial.role, trial.operator,
       trial.state, measurement.loss, trial.spec_hash
FROM line
JOIN study ON study.id = line.study
JOIN trial ON trial.study = line.study AND trial.number = line.ancestor
LEFT JOIN measurement ON measurement.study = trial.study AND measurement.number = trial.number
                     AND measurement.attempt = trial.attempt
ORDER BY study.name, line.number, line.distance;

-- What did not finish, and why.
CREATE VIEW failures AS
SELECT study, number, role, label, state, block, message, stopped_step, stopped_loss, attempt,
       lost, spec_hash
FROM trials
WHERE state NOT IN ('waiting', 'running', 'done')
ORDER BY study, number;
