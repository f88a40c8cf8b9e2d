"""Alerts sent to where people look: syslog, webhook, e-mail, files."""
