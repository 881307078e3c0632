"""Other people's models: one file per wire protocol, and the offline one."""
