DROP TABLE run_steps;
DROP TABLE session_heads;
DROP TABLE run_events;
DROP FUNCTION refuse_change();
DROP TABLE runs;
