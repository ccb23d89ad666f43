"""What works on this machine, what does not, and what to type: the findings of `doctor`.

Facts are gathered in child processes with a time limit (`asking`), so that a library that crashes
or hangs is a finding too; what they mean is decided by functions of values, which any machine can
be put before in a test. `examine` joins the two.
"""
