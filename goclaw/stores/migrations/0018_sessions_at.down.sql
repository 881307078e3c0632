DROP INDEX session_messages_markers;
