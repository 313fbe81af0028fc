-- Moebius results, version 1. One file holds many studies; every fact that a report needs is a typed
-- column, and `sqlite3 FILE 'select * from leaderboard'` works without the program.

-- What is searched. Settings are fixed when the study is opened; resuming compares them.
CREATE TABLE study (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  space TEXT NOT NULL,  -- space, recipe, options, provenance: JSON
  recipe TEXT NOT NULL,
  options TEXT NOT NULL,
  seed INTEGER NOT NULL,  -- 64 bits; above 2^63 it reads as negative
  lag INTEGER NOT NULL CHECK (lag >= 1),
  provenance TEXT NOT NULL,
  redrawn INTEGER NOT NULL DEFAULT 0 CHECK (redrawn >= 0),  -- draws that the constraints refused
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TABLE trial (
  id INTEGER PRIMARY KEY,
  study INTEGER NOT NULL REFERENCES study (id),
  number INTEGER NOT NULL CHECK (number >= 0),
  role TEXT NOT NULL CHECK (role IN ('baseline', 'search', 'rerun', 'noise', 'control', 'scaled')),
  label TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN
    ('waiting', 'running', 'done', 'pruned', 'diverged', 'infeasible', 'out_of_memory', 'failed')),
  attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),      -- of the last claim: the fence
  resumable INTEGER NOT NULL DEFAULT 0 CHECK (resumable IN (0, 1)),  -- released gracefully
  lost INTEGER NOT NULL DEFAULT 0 CHECK (lost >= 0),            -- attempts that died with a process
  point TEXT,           -- JSON, the choice of each slot; NULL: not in the space
  spec TEXT NOT NULL,   -- JSON, moebius.block/1
  spec_hash TEXT NOT NULL CHECK (length(spec_hash) = 32),
  parent INTEGER CHECK (parent < number),                       -- a number of the same study
  op TEXT NOT NULL DEFAULT '',
  seed INTEGER NOT NULL,
  owner TEXT NOT NULL DEFAULT '',
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  started TEXT,  -- of the last attempt
  ended TEXT,
  UNIQUE (study, number),
  FOREIGN KEY (study, parent) REFERENCES trial (study, number),
  CHECK (state IN ('waiting', 'failed') OR attempt >= 1)
) STRICT;
CREATE INDEX trial_by_block ON trial (study, spec_hash);

-- One row per sub-layer of the block; NULL where its type does not declare the field.
CREATE TABLE sublayer (
  trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  type TEXT NOT NULL,
  d_model INTEGER NOT NULL,
  heads INTEGER,
  head_dim INTEGER,
  position_kind TEXT,  -- relative_bias, rope, learned, none
  qkv_conv INTEGER,
  d_ffn INTEGER,
  activation TEXT,
  d_moe INTEGER,
  experts INTEGER,
  gating TEXT,
  capacity ANY,        -- slots per token, or 'none' (which compares above every number)
  routing_group TEXT,  -- field `group`
  PRIMARY KEY (trial, position)
) STRICT, WITHOUT ROWID;

-- One row per ended attempt. NULL = not measured. Losses are nats per token.
CREATE TABLE measurement (
  trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
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
  PRIMARY KEY (trial, attempt),
  CHECK ((ending = 'done') = (loss IS NOT NULL))
) STRICT;

CREATE TABLE curve (
  trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  step INTEGER NOT NULL,
  train_loss REAL,
  valid_loss REAL,
  cpu_seconds REAL,
  PRIMARY KEY (trial, attempt, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE artifact (
  trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  path TEXT NOT NULL,
  hash TEXT NOT NULL,
  gone INTEGER NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)),
  PRIMARY KEY (trial, kind)
) STRICT, WITHOUT ROWID;

-- Small values that a study fixes once ("baseline_step_seconds").
CREATE TABLE note (
  study INTEGER NOT NULL REFERENCES study (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (study, key)
) STRICT, WITHOUT ROWID;

-- Ended trials, best first: finished by loss, pruned by the loss they were stopped at, then the
-- rest; the number breaks ties. Losses with `causal` other than 'yes' are not comparable without it.
CREATE VIEW leaderboard AS
SELECT study.name AS study,
       row_number() OVER (PARTITION BY study.id ORDER BY trial.state <> 'done',
         trial.state <> 'pruned', measurement.loss,
         CASE trial.state WHEN 'pruned' THEN measurement.stopped_loss END NULLS LAST,
         trial.number) AS rank,
       trial.number, trial.role, trial.label, trial.state, measurement.loss,
       measurement.stopped_loss, measurement.causal, measurement.native_loss,
       measurement.bits_per_byte, measurement.tokens, measurement.steps, measurement.step_seconds,
       measurement.parameters, measurement.active_parameters, measurement.active_flops,
       measurement.tokens_per_active_parameter, measurement.peak_bytes, trial.seed, trial.parent,
       trial.op, trial.spec_hash, measurement.message
FROM trial
JOIN study ON study.id = trial.study
JOIN measurement ON measurement.trial = trial.id AND measurement.attempt = trial.attempt
ORDER BY study.name, rank;

-- Finished trials that no other of their study beats in loss and in step time.
CREATE VIEW pareto AS
SELECT study, number, role, label, loss, step_seconds, causal, parameters, active_parameters,
       spec_hash
FROM (
  SELECT *, min(loss) OVER (PARTITION BY study ORDER BY step_seconds, loss, number
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best_faster
  FROM leaderboard WHERE state = 'done' AND step_seconds > 0)
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
SELECT study.name AS study, line.number, line.distance, line.ancestor, trial.role, trial.op,
       trial.state, measurement.loss, trial.spec_hash
FROM line
JOIN study ON study.id = line.study
JOIN trial ON trial.study = line.study AND trial.number = line.ancestor
LEFT JOIN measurement ON measurement.trial = trial.id AND measurement.attempt = trial.attempt
ORDER BY study.name, line.number, line.distance;

-- What did not finish, and why.
CREATE VIEW failures AS
SELECT study.name AS study, trial.number, trial.role, trial.label, trial.state,
       measurement.message, measurement.stopped_step, measurement.stopped_loss, trial.attempt,
       trial.lost, trial.spec_hash
FROM trial
JOIN study ON study.id = trial.study
LEFT JOIN measurement ON measurement.trial = trial.id AND measurement.attempt = trial.attempt
WHERE trial.state NOT IN ('waiting', 'running', 'done')
ORDER BY study.name, trial.number;
