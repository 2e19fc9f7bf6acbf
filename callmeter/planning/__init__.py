"""What a load needs: measured figures and the arithmetic on them."""
