"""What every process tells about itself: the current request, spans, metrics and logs.

Stands beside the stores, which must not know it; web, worker, operator and commands use it.
"""
