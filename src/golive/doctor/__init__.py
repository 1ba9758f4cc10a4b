"""
``golive doctor``: what is wrong with this project and this machine, before anything moves.

It only looks: no schema is changed, no lock taken, nothing started that stays, nothing ended. Each check is a function
that yields findings; :mod:`golive.doctor.examination` holds their order. What a check cannot find out is a finding too,
never silence.
"""
