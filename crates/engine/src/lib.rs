//! The engine: containers and images as Docker knows them
