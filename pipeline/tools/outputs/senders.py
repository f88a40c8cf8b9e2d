"""The sender of each kind of output."""

from pipeline.tools.outputs.email_sender import EmailSender
from pipeline.tools.outputs.sending import Sender
from pipeline.tools.outputs.syslog_sender import SyslogSender
from pipeline.tools.outputs.webhook_sender import WebhookSender
from schemas.outputs import EmailOutput, SyslogOutput, WebhookOutput

ReceiverOutput = SyslogOutput | WebhookOutput | EmailOutput
"""An output with a receiver that may refuse; a file takes everything."""


def sender_of(output: ReceiverOutput) -> Sender:
    """What sends to an output's receiver; files have no receiver (alert_file.py)."""
    if isinstance(output, SyslogOutput):
        return SyslogSender(output)
    return WebhookSender(output) if isinstance(output, WebhookOutput) else EmailSender(output)
