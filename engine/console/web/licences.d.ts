/** Made by build.mjs from the packages that are shipped. */
declare module "licences" {
  const list: { name: string; version: string; licence: string; text: string }[];
  export default list;
}
