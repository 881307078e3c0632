DROP TABLE operator_state, audit_log, policy_versions;
DROP FUNCTION refuse_change_of_audit();
