"""Two reports compared: what another version, driver, device or commit changed."""
