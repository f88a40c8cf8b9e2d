"""How many rows score sends to retraining: suspects, and of the rest one in so many, by hash of raw position.

All suspects of a message are sent, unless they are a flood. Of that a share is sent that holds the rows to which
retraining thins suspects (runtime/even_sample.py): with it or without, what is thinned is the same.
"""

NORMAL_ONE_IN = 32
OTHER_ONE_IN = 4
"""By a row's class: what is named an attack is rare and worth more than the hundredth ordinary poll."""
MAX_SUSPECTS = 512
"""Of a message, sent to retraining, more or less: a flood's flows are alike, and writing all of them once more, and
storing them, is dearer than scoring them."""


def suspects_one_in(suspects: int) -> int:
    """One in how many of a message's suspects is sent: 1 up to MAX_SUSPECTS, then 2, 4, 8, 16 and at most 32.

    suspects   512   513   1,024   2,000   4,096   65,536
    one in       1     2       2       4       8       32
    sent       512   256     512     500     512    2,048   on average
    """
    one_in = 1
    while suspects > MAX_SUSPECTS * one_in and one_in < NORMAL_ONE_IN:
        one_in *= 2
    return one_in
