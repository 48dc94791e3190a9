"""Quality of rerouted answers: draw a sample, let the new models answer, let a judge compare."""
