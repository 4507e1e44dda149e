"""How sure a selection is: stability selection, debiased lasso intervals, Wald intervals of refits. Start with ``debias.py``."""
