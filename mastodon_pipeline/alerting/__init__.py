"""Problems of the pipeline as messages to where a person sees them: mail, chat, a webhook."""
