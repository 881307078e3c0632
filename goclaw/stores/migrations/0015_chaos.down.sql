DROP TABLE chaos_plans;
