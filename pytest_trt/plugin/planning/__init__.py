"""What a test checks: its marks, parsed and resolved into its plan, or refused."""
