DROP INDEX session_messages_markers, runs_announces;
