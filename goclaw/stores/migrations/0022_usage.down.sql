DROP TABLE usage_snapshots;
DROP TABLE model_calls;
