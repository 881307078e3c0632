DROP TABLE provider_cooldowns, oauth_tokens, llm_models, llm_providers;
