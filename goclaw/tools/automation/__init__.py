"""Time and schedules."""
