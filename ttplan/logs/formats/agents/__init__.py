"""Logs of coding agents: what Claude Code, Codex, opencode and Cursor write or export."""
