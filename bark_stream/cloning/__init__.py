"""A voice from a few seconds of somebody, with their consent: `bark_stream.cloning.clone.clone`."""
