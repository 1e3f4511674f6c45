"""What a model costs on this machine, measured in one run: alone, with company, beside another implementation."""
