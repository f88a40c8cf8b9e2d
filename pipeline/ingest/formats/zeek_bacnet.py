"""BACnet/IP as icsnpp-bacnet logs it: bacnet.log, a message a record; requests count, errors refuse."""

import numpy as np

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import ics
from pipeline.ingest.formats.functions import functions_of
from pipeline.ingest.formats.protocols import UDP
from pipeline.ingest.formats.zeek_log import Log, is_word

BACNET = functions_of("bacnet")
_REFUSALS = ("error_pdu", "reject_pdu", "abort_pdu")


def _bacnet(draft: Draft) -> None:
    request = is_word(draft, "pdu_type", "confirmed_request", "unconfirmed_request")
    codes, known = BACNET.codes_of(draft.text("pdu_service", "ics_functions"))
    asked = request & draft.has("pdu_service")
    draft.reject(asked & ~known, "function", "ics_functions", "pdu_service")
    ics.put_functions(draft, BACNET, np.where(asked & known, codes, -1))
    ics.put_exceptions(draft, is_word(draft, "pdu_type", *_REFUSALS))


LOGS = (Log("bacnet", "bacnet", ("pdu_type", "pdu_service"), ("pdu_type", "pdu_service"), _bacnet, UDP),)
