"""What each sampler showed the model, beside exact theory."""
