"""jetson-bench: clips per second, measured in processes of their own, with what held meanwhile.

``run.py`` is the way through; ``worker.py`` measures, ``contender.py`` is the other end of its
pipe, ``rows.py`` makes a row of the document out of it, ``document.py`` keeps the document.
"""
