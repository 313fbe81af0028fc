INSERT INTO study (id, name, files, space, recipe, options, seed, lag, provenance, redrawn, created)
SELECT id, name, lower(hex(randomblob(16))), space, recipe, options, seed, lag, provenance, redrawn,
       created
FROM study_1;

-- moebius_block writes a block as trials.block has it.
INSERT INTO trial (study, number, role, label, state, attempt, resumable, lost, block, d_model,
                   stacks, point, spec, spec_hash, parent, operator, seed, owner, created, started,
                   ended)
SELECT study, number, role, label, state, attempt, resumable, lost, moebius_block(spec),
       iif(json_valid(spec), ifnull(json_extract(spec, '$.d_model'), 0), 0),
       iif(json_valid(spec), ifnull(json_extract(spec, '$.stacks'), 0), 0), point, spec, spec_hash,
       parent, nullif(op, ''), seed, owner, created, started, ended
FROM trial_1
ORDER BY study, number;

INSERT INTO sublayer (study, number, position, field, value)
SELECT t.study, t.number, CAST(p.key AS TEXT), f.key, f.value
FROM trial_1 t
JOIN json_each(CASE WHEN json_valid(t.spec) THEN t.spec ELSE '{}' END, '$.sublayers') p
JOIN json_each(CASE p.type WHEN 'object' THEN p.value ELSE '{}' END) f
WHERE f.value IS NOT NULL;

INSERT INTO measurement (study, number, attempt, ending, message, loss, native_loss, stopped_loss,
                         stopped_step, bits_per_byte, causal, split, epochs, steps, tokens, flops,
                         cpu_seconds, wall_seconds, virtual_seconds, step_seconds, step_ratio,
                         parameters, active_parameters, active_flops, peak_bytes, kept_pairs,
                         dropped_pairs, tokens_per_active_parameter, result_hash)
SELECT t.study, t.number, m.attempt, ending, message, loss, native_loss, stopped_loss, stopped_step,
       bits_per_byte, causal, split, epochs, steps, tokens, flops, cpu_seconds, wall_seconds,
       virtual_seconds, step_seconds, step_ratio, parameters, active_parameters, active_flops,
       peak_bytes, kept_pairs, dropped_pairs, tokens_per_active_parameter, result_hash
FROM measurement_1 m JOIN trial_1 t ON t.id = m.trial;

INSERT INTO curve (study, number, attempt, step, train_loss, valid_loss, cpu_seconds)
SELECT t.study, t.number, c.attempt, step, train_loss, valid_loss, cpu_seconds
FROM curve_1 c JOIN trial_1 t ON t.id = c.trial;

INSERT INTO artifact (study, number, kind, path, hash, gone)
SELECT t.study, t.number, kind, path, hash, gone
FROM artifact_1 a JOIN trial_1 t ON t.id = a.trial;

INSERT INTO note (study, key, value) SELECT study, key, value FROM note_1;
-- The files of these studies lie where schema 1 put them (search/results/store.h).
INSERT INTO note (study, key, value) SELECT id, 'schema', '1' FROM study_1;

DROP TABLE note_1;
DROP TABLE artifact_1;
DROP TABLE curve_1;
DROP TABLE measurement_1;
DROP TABLE sublayer_1;
DROP TABLE trial_1;
DROP TABLE study_1;
