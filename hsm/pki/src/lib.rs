//! Test certificates for HAN, LMN and WAN partners, and their deliberately bad variants.
