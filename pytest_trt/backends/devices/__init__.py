"""GPUs: which there are, their driver and clocks, and who else uses them."""
