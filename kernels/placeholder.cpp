// placeholder until first real source
